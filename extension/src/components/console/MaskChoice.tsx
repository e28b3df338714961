import type { JSX } from 'react';
import type { Mask } from '../../api/types/datasets.js';
import { maskWord } from '../format.js';

/** One method that a steward can choose: its parameter is asked for where it has one (docs/admins/masks.md). */
interface Method {
  readonly words: string;
  readonly suits: RegExp;
  readonly parameter?: {
    readonly words: string;
    readonly usual: string;
    readonly written: (value: string) => string;
    readonly valid: RegExp;
    readonly choices?: readonly string[];
  };
}

const NUMBERS = /^(Int|UInt|Float|Decimal)/;
const TEXT = /^(String|Categorical|Enum)/;
const CALENDAR = /^Date/;
const COMPARABLE = /^(Int|UInt|Float|Decimal|String|Categorical|Enum|Date|Boolean)/;
const QUANTILE = { written: (value: string) => value };

const METHODS: Readonly<Record<string, Method>> = {
  hash: { words: 'Pseudonyms', suits: COMPARABLE },
  token: { words: 'Tokens of its form', suits: /^(Int|UInt|Float|Decimal|String|Categorical|Enum)/ },
  redact: { words: 'Redacted', suits: /./ },
  null: { words: 'Emptied', suits: /./ },
  generalise: {
    words: 'Classes',
    suits: NUMBERS,
    parameter: {
      words: 'Width of a class',
      usual: '5',
      written: value => `width=${value}`,
      valid: /^(?!0+(\.0+)?$)\d{1,9}(\.\d{1,6})?$/
    }
  },
  prefix: {
    words: 'Beginning',
    suits: TEXT,
    parameter: { words: 'Characters', usual: '3', written: value => value, valid: /^([1-9]|[1-5]\d|6[0-4])$/ }
  },
  date: {
    words: 'Only the period',
    suits: CALENDAR,
    parameter: {
      words: 'Period',
      usual: 'month',
      written: value => value,
      valid: /./,
      choices: ['year', 'quarter', 'month', 'day']
    }
  },
  round: {
    words: 'Rounded',
    suits: NUMBERS,
    parameter: { words: 'Decimals', usual: '0', written: value => value, valid: /^-?\d$/ }
  },
  topcode: {
    words: 'At most',
    suits: NUMBERS,
    parameter: { words: 'Quantile', usual: '0.99', valid: /^0\.[5-9]\d{0,5}$/, ...QUANTILE }
  },
  bottomcode: {
    words: 'At least',
    suits: NUMBERS,
    parameter: { words: 'Quantile', usual: '0.01', valid: /^0\.(?!0+$)([0-4]\d{0,5}|50*)$/, ...QUANTILE }
  },
  'shift-date': { words: 'Shifted dates', suits: CALENDAR }
};

function parts(mask: Mask | undefined): { readonly method: string; readonly value: string } {
  const [method = '', written = ''] = (mask ?? '').replace(/\)$/, '').split('(');
  return { method, value: written.replace(/^width=/, '') };
}

function written(method: string, value?: string): Mask | undefined {
  const known = METHODS[method];
  if (known === undefined) {
    return undefined;
  }
  return known.parameter === undefined
    ? method
    : `${method}(${known.parameter.written(value ?? known.parameter.usual)})`;
}

/** Whether a mask can be sent: none at all, or one whose parameter is filled in. */
export function isWholeMask(mask: Mask | undefined): boolean {
  const { method, value } = parts(mask);
  return METHODS[method]?.parameter?.valid.test(value) ?? true;
}

export function MaskChoice({
  column,
  type,
  policy,
  disabled,
  mask,
  choose
}: {
  readonly column: string;
  /** The column's type, as the catalogue has it; only masks for what it holds are offered. */
  readonly type: string;
  /** The mask that the policy lays on it anyway. */
  readonly policy: Mask | null;
  readonly disabled: boolean;
  readonly mask: Mask | undefined;
  readonly choose: (mask: Mask | undefined) => void;
}): JSX.Element {
  const { method, value } = parts(mask);
  const parameter = METHODS[method]?.parameter;
  const valid = isWholeMask(mask);
  return (
    <span className="sr-Together">
      <select
        className="sr-Input"
        aria-label={`Mask for ${column}`}
        disabled={disabled}
        value={method}
        onChange={event => {
          choose(written(event.target.value));
        }}
      >
        <option value="">{policy === null ? 'As it is' : `By policy: ${maskWord(policy)}`}</option>
        {Object.entries(METHODS)
          .filter(([, known]) => known.suits.test(type))
          .map(([name, known]) => (
            <option key={name} value={name}>
              {known.words}
            </option>
          ))}
      </select>
      {parameter !== undefined &&
        (parameter.choices !== undefined ? (
          <select
            className="sr-Input"
            aria-label={`${parameter.words} for ${column}`}
            disabled={disabled}
            value={value}
            onChange={event => {
              choose(written(method, event.target.value));
            }}
          >
            {parameter.choices.map(choice => (
              <option key={choice} value={choice}>
                {choice}
              </option>
            ))}
          </select>
        ) : (
          <input
            className="sr-Input sr-Input-short"
            aria-label={`${parameter.words} for ${column}`}
            aria-invalid={!valid}
            title={parameter.words}
            inputMode="decimal"
            disabled={disabled}
            value={value}
            onChange={event => {
              choose(written(method, event.target.value.trim()));
            }}
          />
        ))}
    </span>
  );
}
