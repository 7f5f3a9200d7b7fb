// Lambdas of bank.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class BankBalances implements interfaces.BankBalances {
    transferPublish({ sender, recipient, amount }: collections.BankTransfers): collections.BankBalances[] {
        return [
            { account: sender, balance: -amount },
            { account: recipient, balance: amount },
        ];
    }
}

export class BankAcquaintances implements interfaces.BankAcquaintances {
    transferUpdate(_source: collections.BankTransfers): registers.BankAcquaintances[] {
        return [true];
    }

    transferPublish(
        source: collections.BankTransfers,
        _register: registers.BankAcquaintances,
        acquainted: registers.BankAcquaintances,
    ): collections.BankAcquaintances[] {
        return acquainted ? [] : [source];
    }
}

export class BankFlagged implements interfaces.BankFlagged {
    creditUpdate(source: collections.BankTransfers): registers.BankFlagged[] {
        return [source.amount];
    }

    debitUpdate(source: collections.BankTransfers): registers.BankFlagged[] {
        return [-source.amount];
    }

    debitPublish(source: collections.BankTransfers, balance: registers.BankFlagged): collections.BankFlagged[] {
        return [{ ...source, balance, overdrawn: balance < 0 }];
    }
}
