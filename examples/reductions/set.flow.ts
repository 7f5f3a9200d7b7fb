// Lambdas of set.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class LibraryOnLoan implements interfaces.LibraryOnLoan {
    loanUpdate(source: collections.LibraryLoans): registers.LibraryOnLoan[] {
        return source.books ? [source.books] : [];
    }

    loanPublish(source: collections.LibraryLoans, register: registers.LibraryOnLoan): collections.LibraryOnLoan[] {
        const books = register.add ?? {};
        return [
            {
                card: source.card,
                titles: Object.keys(books).sort(),
                copies: Object.values(books).reduce((sum: number, copies) => sum + (copies ?? 0), 0),
                terms: Object.keys(register).sort().join(' '),
            },
        ];
    }
}
