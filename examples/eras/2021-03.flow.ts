// Lambdas of 2021-03.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

// `Eras202103Balances` is the name of the collection without what is no letter or digit.
export class Eras202103Balances implements interfaces.Eras202103Balances {
    fromTransfersUpdate(source: collections.ErasTransfers): registers.Eras202103Balances[] {
        return [source.amount];
    }

    fromTransfersPublish(
        source: collections.ErasTransfers,
        register: registers.Eras202103Balances,
        _previous: registers.Eras202103Balances,
    ): collections.Eras202103Balances[] {
        return [{ id: source.id, account: source.account, balance: register }];
    }
}
