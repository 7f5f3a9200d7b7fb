// Lambdas of bank.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class BankRunning implements interfaces.BankRunning {
    legUpdate({ delta }: collections.BankLog): registers.BankRunning[] {
        return [{ balance: delta, count: 1 }];
    }

    legPublish(source: collections.BankLog, { balance, count }: registers.BankRunning): collections.BankRunning[] {
        return [{ id: source.id, balance, count, oracle: source.oracle }];
    }
}
