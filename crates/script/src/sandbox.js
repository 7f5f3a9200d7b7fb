// What stands between lambdas and the engine. Evaluated once per context, before any code of an author.
// Leaves only what is pure and deterministic, freezes it, and gives back the functions the host calls.
(function () {
  'use strict';

  const kept = new Set([
    'globalThis', 'undefined', 'NaN', 'Infinity',
    'Object', 'Function', 'Array', 'String', 'Number', 'Boolean', 'Symbol', 'BigInt',
    'Math', 'JSON', 'Date', 'Reflect', 'RegExp', 'Map', 'Set', 'WeakMap', 'WeakSet', 'Iterator', 'Promise',
    'Error', 'EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError', 'AggregateError',
    'parseInt', 'parseFloat', 'isNaN', 'isFinite',
    'encodeURI', 'encodeURIComponent', 'decodeURI', 'decodeURIComponent',
  ]);
  const errors = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError];
  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { ownKeys, getOwnPropertyDescriptor, getPrototypeOf, defineProperty, deleteProperty } = Reflect;
  const { freeze } = Object;

  for (const key of ownKeys(globalThis)) {
    if (typeof key === 'string' && !kept.has(key)) delete globalThis[key];
  }
  delete Math.random;
  delete Error.captureStackTrace;
  delete Error.prepareStackTrace;
  delete Error.stackTraceLimit;

  // Dates are values, and their arithmetic is pure; what time it is now, and where, is not. So there is no present, and local
  // time is UTC.
  const Dated = Date;
  const { prototype: dates, UTC } = Dated;
  const MINUTE = 60000;
  const offset = dates.getTimezoneOffset;
  const construct = Reflect.construct;
  const time = (text) => {
    const at = Dated.parse(text);
    const zoned = /(Z|GMT|UTC|[+-]\d\d:?\d\d)(\s*\(.*\))?\s*$/i.test(text) || /^\s*[+-]?\d{4,6}(-\d\d){0,2}\s*$/.test(text);
    return zoned || isNaN(at) ? at : at - offset.call(new Dated(at)) * MINUTE;
  };
  const timeless = () => {
    throw new TypeError('lambdas have no clock; make dates of what documents say, as in new Date(source.timestamp)');
  };
  const Dates = function Date(...parts) {
    if (new.target === undefined || parts.length === 0) timeless();
    const [only] = parts;
    if (parts.length > 1) return construct(Dated, [UTC(...parts)], new.target);
    return construct(Dated, [typeof only === 'string' ? time(only) : only], new.target);
  };
  const hidden = (object, key, value) => defineProperty(object, key, { value, writable: true, configurable: true });
  defineProperty(Dates, 'prototype', { value: dates });
  hidden(dates, 'constructor', Dates);
  hidden(Dates, 'now', timeless);
  hidden(Dates, 'parse', (text) => time(String(text)));
  hidden(Dates, 'UTC', UTC);
  for (const key of ownKeys(dates)) {
    const universal = typeof key === 'string' && dates[key.replace(/^(get|set)/, '$1UTC')];
    if (/^[gs]et(?!UTC|Time)/.test(String(key)) && universal) hidden(dates, key, universal);
    if (/^to(Locale)?(Date|Time)?String$/.test(String(key))) hidden(dates, key, dates.toUTCString);
  }
  hidden(dates, 'getTimezoneOffset', function getTimezoneOffset() {
    return this.getTime() * 0;
  });
  globalThis.Date = Dates;

  // What is written here is written for whoever debugs the module elsewhere.
  globalThis.console = {};
  for (const key of ['debug', 'error', 'info', 'log', 'trace', 'warn']) globalThis.console[key] = function () {};

  // Not of the language, but where modules are written it is there: authors copy documents and state with it.
  globalThis.structuredClone = function structuredClone(value) {
    const copies = new Map();
    const copy = (from) => {
      if (typeof from === 'function' || typeof from === 'symbol') throw new TypeError(`a ${typeof from} cannot be cloned`);
      if (typeof from !== 'object' || from === null) return from;
      if (copies.has(from)) return copies.get(from);
      const kept = (to) => (copies.set(from, to), to);
      if (from instanceof Dated) return kept(new Dated(from.getTime()));
      if (from instanceof RegExp) return kept(new RegExp(from.source, from.flags));
      if (from instanceof Map) {
        const to = kept(new Map());
        from.forEach((value, key) => to.set(copy(key), copy(value)));
        return to;
      }
      if (from instanceof Set) {
        const to = kept(new Set());
        from.forEach((value) => to.add(copy(value)));
        return to;
      }
      const to = kept(isArray(from) ? [] : {});
      if (isArray(from)) to.length = from.length;
      for (const key of Object.keys(from)) {
        defineProperty(to, key, { value: copy(from[key]), writable: true, enumerable: true, configurable: true });
      }
      return to;
    };
    return copy(value);
  };

  // Code from strings: every constructor of functions, the nameless ones too.
  const refuse = function Function() {
    throw new TypeError('lambdas cannot make code from strings');
  };
  defineProperty(refuse, 'prototype', { value: Function.prototype });
  for (const f of [function () {}, function* () {}, async function () {}, async function* () {}]) {
    defineProperty(getPrototypeOf(f), 'constructor', { value: refuse });
  }
  globalThis.Function = refuse;

  // An assignment to an object may not be refused because its frozen prototype has a property of that name, as
  // `this.name = 'Mine'` in a class that extends Error. Such properties become accessors that define the object's own.
  for (const proto of [Object.prototype, Function.prototype, ...errors.map((e) => e.prototype)]) {
    for (const key of ownKeys(proto)) {
      const old = getOwnPropertyDescriptor(proto, key);
      if (!('value' in old) || !old.configurable) continue;
      defineProperty(proto, key, {
        get() {
          return old.value;
        },
        set(value) {
          if (this === proto) throw new TypeError(`cannot assign to ${String(key)} of a built-in object`);
          defineProperty(this, key, { value, writable: true, enumerable: true, configurable: true });
        },
        enumerable: false,
        configurable: false,
      });
    }
  }

  const seen = new Set();
  const todo = [
    globalThis,
    getPrototypeOf(function* () {}),
    getPrototypeOf(async function () {}),
    getPrototypeOf(async function* () {}),
    getPrototypeOf((async () => {})()),
    getPrototypeOf([][Symbol.iterator]()),
    getPrototypeOf(''[Symbol.iterator]()),
    getPrototypeOf(new Map()[Symbol.iterator]()),
    getPrototypeOf(new Set()[Symbol.iterator]()),
    getPrototypeOf(''.matchAll(/x/g)),
  ];
  while (todo.length > 0) {
    const object = todo.pop();
    if (object === null || (typeof object !== 'object' && typeof object !== 'function') || seen.has(object)) continue;
    seen.add(object);
    todo.push(getPrototypeOf(object));
    for (const key of ownKeys(object)) {
      const { value, get, set } = getOwnPropertyDescriptor(object, key);
      todo.push(value, get, set);
    }
  }
  for (const object of seen) freeze(object);

  const kind = (value) => {
    if (value === null || value === undefined) return String(value);
    if (typeof value === 'object') return 'an object';
    if (typeof value === 'function') return 'a function';
    return `a ${typeof value}`;
  };

  const rowsOf = (rows) => {
    if (!isArray(rows)) throw new TypeError(`must return an array of documents, but returned ${kind(rows)}`);
    return stringify(rows);
  };

  const isPromise = (value) => typeof value === 'object' && value !== null && typeof value.then === 'function';
  const invoke = (instance, method, width, args, at) =>
    width === 1 ? instance[method](args[at]) : instance[method](args[at], args[at + 1], args[at + 2]);
  // Goes on with a run of calls one of which gave a Promise of its rows. Each call waits for the one before it.
  const awaited = async (instance, method, width, args, note, lines, rows) => {
    const count = args.length / width;
    for (let i = note.at; ; ) {
      lines += rowsOf(await rows) + '\n';
      i += 1;
      if (i >= count) return lines;
      note.at = i;
      rows = invoke(instance, method, width, args, i * width);
    }
  };

  const plain = (value) => typeof value === 'object' && value !== null && !isArray(value);
  // RFC 7396, over what was just parsed. A property may be called __proto__, so none is assigned to.
  const merge = (target, patch) => {
    if (!plain(patch)) return patch;
    const merged = plain(target) ? target : {};
    for (const key of ownKeys(patch)) {
      if (patch[key] === null) {
        deleteProperty(merged, key);
      } else {
        const value = merge(getOwnPropertyDescriptor(merged, key)?.value, patch[key]);
        defineProperty(merged, key, { value, writable: true, enumerable: true, configurable: true });
      }
    }
    return merged;
  };

  return {
    // Makes the instance whose methods are the lambdas. Only since 2023 is there a state, which the constructor gets.
    construct(Class, state) {
      return state === '' ? new Class() : new Class({ state: parse(state) });
    },
    // The documents of a transaction's end, as a line of JSON.
    async flush(instance) {
      return typeof instance.flush === 'function' ? rowsOf(await instance.flush()) : '[]';
    },
    async reset(instance) {
      if (typeof instance.reset === 'function') await instance.reset();
      return '';
    },
    // The state after the transaction, where the class says that it has changed, and else nothing.
    startCommit(instance, before) {
      if (typeof instance.startCommit !== 'function') return '';
      const { state } = instance.startCommit({ runtimeCheckpoint: {} }) ?? {};
      if (state === undefined || state === null) return '';
      const updated = stringify(state.updated);
      if (updated === undefined) throw new TypeError('state.updated must be a JSON value');
      return state.mergePatch ? stringify(merge(parse(before), parse(updated))) : updated;
    },
    // Calls a method for each of `count` runs of `width` arguments; one line of JSON per call, an array of documents.
    // `note.at` is the call being made, for when this function does not come back. Gives a Promise of the lines where a
    // method gives one of its rows.
    call(instance, method, width, text, note) {
      if (typeof instance[method] !== 'function') throw new TypeError(`the class has no method ${method}`);
      const args = parse(text);
      const count = args.length / width;
      let lines = '';
      for (let i = 0; i < count; i++) {
        note.at = i;
        const rows = invoke(instance, method, width, args, i * width);
        if (isPromise(rows)) return awaited(instance, method, width, args, note, lines, rows);
        lines += rowsOf(rows) + '\n';
      }
      return lines;
    },
  };
})()
