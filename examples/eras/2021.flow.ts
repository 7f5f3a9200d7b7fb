// Lambdas of 2021.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

// `Eras2021Balances` is the name of the collection without what is no letter or digit.
export class Eras2021Balances implements interfaces.Eras2021Balances {
    fromTransfersUpdate(source: collections.ErasTransfers): registers.Eras2021Balances[] {
        return [source.amount];
    }

    fromTransfersPublish(
        source: collections.ErasTransfers,
        register: registers.Eras2021Balances,
        _previous: registers.Eras2021Balances,
    ): collections.Eras2021Balances[] {
        return [{ id: source.id, account: source.account, balance: register }];
    }
}
