import js from '@eslint/js';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

const outsideComponents = ['@jupyterlab/*', '@lumino/*'];

export default tseslint.config(
  { ignores: ['lib', 'node_modules', 'strongroom_lab'] },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['eslint.config.js', 'standalone/rspack.config.mjs', 'style/index.js'] },
        tsconfigRootDir: import.meta.dirname
      }
    },
    plugins: { 'react-hooks': reactHooks },
    rules: {
      ...reactHooks.configs.recommended.rules,
      // Event handlers start work and show its outcome as state; React does not await them.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }]
    }
  },
  {
    // The console's page has no JupyterLab, and a server-sent style attribute would break its content security policy.
    files: ['src/api/**', 'src/components/**', 'standalone/**/*.tsx'],
    rules: {
      'no-restricted-imports': ['error', { patterns: outsideComponents }],
      'no-restricted-syntax': [
        'error',
        { selector: "JSXAttribute[name.name='style']", message: 'Use a class: the console forbids inline styles.' },
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: 'What comes from a workspace is text.' }
      ]
    }
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { URL: 'readonly' } }
  }
);
