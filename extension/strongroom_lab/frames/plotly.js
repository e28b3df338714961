window.strongroomFrame(async (place, { data = [], layout = {}, frames = [], config = {} }) => {
  place.style.height = `${Number(layout.height) || 450}px`;
  await window.Plotly.newPlot(place, {
    data,
    layout,
    frames,
    config: {
      responsive: true,
      displaylogo: false,
      scrollZoom: config.scrollZoom === true,
      staticPlot: config.staticPlot === true,
      // A frame may not save files; figures leave like everything else, through the airlock.
      modeBarButtonsToRemove: ['toImage', 'sendDataToCloud']
    }
  });
});
