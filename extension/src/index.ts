import { cellsPlugin } from './plugins/cells.js';
import { enclavePlugin } from './plugins/enclave.js';
import { framesPlugin } from './plugins/frames.js';
import { labelPlugin } from './plugins/label.js';
import { panelsPlugin } from './plugins/panels.js';
import { withheldPlugin } from './plugins/withheld.js';

export { IEnclave } from './plugins/tokens.js';
export default [enclavePlugin, labelPlugin, panelsPlugin, cellsPlugin, withheldPlugin, framesPlugin];
