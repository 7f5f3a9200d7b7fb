import { IDerivation, Document, SourceGo } from 'flow/ts/out.ts';

interface Shape<T extends object = {}> { readonly v?: T; [k: string]: unknown }
abstract class Base<T> { protected constructor(protected readonly t: T, public n?: number) {} abstract area(): number; get twice(): number { return this.area() * 2; } }
class Sq extends Base<string> { constructor(private side: number) { super('sq'); } override area() { return this.side ** 2; } static of = (n: number) => new Sq(n); }
const enum Color { Red = 1, Green = Red << 1 }
enum Str { A = 'a', B = 'b' }
namespace Util { export const inc = (n: number): number => n + 1; }
function assertNever(x: never): never { throw new Error(`no ${x}`); }
function over(a: string): string;
function over(a: number): number;
function over(a: any): any { return a; }
type Fn = typeof Util.inc;
declare const nothing: unknown;

const cases: Record<string, () => unknown> = {
    structuredClone: () => { const a = { b: [1, { c: new Date(5) }] }; const c = structuredClone(a); return c.b !== a.b && JSON.stringify(c) === JSON.stringify(a); },
    toISO: () => new Date(Date.UTC(2021, 0, 2, 3, 4, 5, 6)).toISOString() === '2021-01-02T03:04:05.006Z',
    dateparse: () => Date.parse('2021-01-02T03:04:05+01:00') === 1609553045000 && new Date('2021-01-02').getDay() === 6,
    regex: () => '2021-07'.replace(/(?<y>\d{4})-(?<m>\d\d)/u, '$<m>/$<y>') === '07/2021' && /(?<=a)b/.test('ab') && [...'a1b2'.matchAll(/\d/g)].length === 2,
    map: () => { const m = new Map([['a', 1]]); m.set('b', 2); return [...m.values()].reduce((x, y) => x + y) === 3 && new Set([1, 1]).size === 1; },
    bigint: () => (2n ** 64n).toString() === '18446744073709551616',
    generator: () => { function* g() { yield 1; yield* [2, 3]; } return [...g()].length === 3; },
    clsx: () => Sq.of(3).twice === 18 && Color.Green === 2 && Str[('A' as keyof typeof Str)] === 'a' && (Util.inc as Fn)(1) === 2 && over(5) === 5,
    console: () => { console.log('hello', { a: 1 }); console.error('x'); console.warn(); console.debug('d'); console.info('i'); return true; },
    label: () => { let n = 0; outer: for (const a of [1, 2]) { for (const b of [1, 2]) { if (b === 2) continue outer; n += a + b; } } return n === 5; },
    weak: () => { const w = new WeakMap<object, number>(); const k = {}; w.set(k, 1); return w.get(k) === 1; },
    sort: () => [10, 9, 1].sort().join() === '1,10,9' && [3, 1, 2].toSorted((a, b) => a - b).join() === '1,2,3',
    flat: () => [[1, [2]], 3].flat(Infinity).length === 3 && Object.fromEntries(Object.entries({ a: 1 })).a === 1,
    at: () => [1, 2, 3].at(-1) === 3 && 'abc'.at(-1) === 'c' && [1, 2, 3].findLast((x) => x < 3) === 2,
    replaceAll: () => 'a.b.c'.replaceAll('.', '-') === 'a-b-c' && 'x'.padStart(3, '0') === '00x',
    hasOwn: () => Object.hasOwn({ a: 1 }, 'a') && !('b' in { a: 1 }),
    group: () => Object.groupBy([1, 2, 3], (n: number) => (n % 2 ? 'odd' : 'even')).odd!.length === 2,
    ownKeys: () => Reflect.ownKeys({ b: 1, a: 2 }).join() === 'b,a' && typeof Symbol.iterator === 'symbol',
};
export class Derivation extends IDerivation {
    go(read: { doc: SourceGo }): Document[] {
        const { id, what } = read.doc;
        const run = cases[what] satisfies (() => unknown) | undefined;
        let ok: unknown;
        try { ok = run!(); } catch (e) { ok = (e as Error).message; }
        return [{ id, ok } as unknown as Document];
    }
}
