import { base } from '../sub/base.ts';
export function plus(n: number): number { return n + base; }
