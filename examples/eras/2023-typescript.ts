// Lambdas of 2023-typescript.flow.yaml.

import { Document, IDerivation, SourceFromTransfers } from 'flow/eras/2023-typescript/balances.ts';

type Balances = { [account: string]: number };

export class Derivation extends IDerivation {
    /** Every balance. */
    balances: Balances;
    /** Those that changed in the open transaction. */
    changed: Balances = {};

    constructor(open: { state: { balances?: Balances } }) {
        super(open);
        this.balances = open.state.balances ?? {};
    }

    fromTransfers(read: { doc: SourceFromTransfers }): Document[] {
        const { id, account, amount } = read.doc;
        const balance = (this.balances[account] ?? 0) + amount;
        this.balances[account] = this.changed[account] = balance;
        return [{ id, account, balance }];
    }

    startCommit() {
        const updated = { balances: this.changed };
        this.changed = {};
        return { state: { updated, mergePatch: true } };
    }

    async reset() {
        this.balances = {};
        this.changed = {};
    }
}
