window.strongroomFrame((place, data) => {
  const table = document.createElement('table');
  table.id = 'table';
  place.replaceChildren(table);
  new LIBRARY.ITable(table, data);
});
