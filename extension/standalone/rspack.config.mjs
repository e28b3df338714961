import { fileURLToPath } from 'node:url';
import { rspack } from '@rspack/core';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The console: three files without a hash in their names, because the page that names them is one of them. */
export default {
  mode: 'production',
  target: ['web', 'es2022'],
  context: here('..'),
  entry: { console: here('./main.tsx') },
  output: { path: here('../../hub_config/strongroom_hub/static'), filename: '[name].js', clean: true },
  devtool: false,
  performance: { maxAssetSize: 400_000, maxEntrypointSize: 400_000 },
  optimization: {
    minimizer: [
      new rspack.SwcJsMinimizerRspackPlugin(),
      // Its default targets rewrite :is() into prefixed forms of another specificity.
      new rspack.LightningCssMinimizerRspackPlugin({
        minimizerOptions: { targets: ['chrome 111', 'firefox 115', 'safari 16.4'] }
      })
    ]
  },
  resolve: { extensions: ['.tsx', '.ts', '.js'], extensionAlias: { '.js': ['.tsx', '.ts', '.js'] } },
  module: {
    rules: [
      {
        test: /\.tsx?$/,
        loader: 'builtin:swc-loader',
        options: {
          jsc: {
            parser: { syntax: 'typescript', tsx: true },
            transform: { react: { runtime: 'automatic' } },
            target: 'es2022'
          }
        },
        type: 'javascript/auto'
      },
      { test: /\.css$/, type: 'css' }
    ]
  },
  plugins: [new rspack.CopyRspackPlugin({ patterns: [{ from: here('./index.html'), to: 'index.html' }] })]
};
