// Lambdas of 2022.flow.yaml.

import { Document, FromTransfersSource, IDerivation, Register } from 'flow/eras/2022/balances';

export class Derivation implements IDerivation {
    fromTransfersUpdate(source: FromTransfersSource): Register[] {
        return [source.amount];
    }

    fromTransfersPublish(source: FromTransfersSource, register: Register, _previous: Register): Document[] {
        return [{ id: source.id, account: source.account, balance: register }];
    }
}
