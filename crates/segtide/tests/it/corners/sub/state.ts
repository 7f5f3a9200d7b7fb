import { IDerivation, Document, SourceFromIn2, SourceLate } from 'flow/s/sums-of.all.ts';

type State = { seen: Record<string, number[]>; late: number };

export class Derivation extends IDerivation {
    private state: State;
    private changed = new Set<string>();
    constructor(open: { state: unknown }) {
        super(open);
        const given = (open.state ?? {}) as Partial<State>;
        this.state = { seen: given.seen ?? {}, late: given.late ?? 0 };
    }
    fromIn2(read: { doc: SourceFromIn2 }): Document[] {
        const g = read.doc.g ?? 'none';
        (this.state.seen[g] ??= []).push(read.doc.id);
        this.changed.add(g);
        return [];
    }
    late(source: { doc: SourceLate }): Document[] {
        this.state.late += 1;
        return [{ g: 'late', n: this.state.late }];
    }
    async flush(): Promise<Document[]> {
        const out = [...this.changed].map((g) => ({ g, n: this.state.seen[g].length, ids: [...this.state.seen[g]].sort((a, b) => a - b) }));
        this.changed.clear();
        return out;
    }
    async reset() {
        this.state = { seen: {}, late: 0 };
        this.changed.clear();
    }
    startCommit(_: unknown) {
        return { state: { updated: this.state, mergePatch: false } };
    }
}
