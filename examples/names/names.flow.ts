// Lambdas of names.flow.yaml. What is neither a letter nor a digit is dropped from a name, and the next letter is a capital.

import { collections, interfaces } from 'flow/modules';

export class Names2DerivedFromOdd implements interfaces.Names2DerivedFromOdd {
    '2ndFromΔοκιμήXPublish'(source: collections.NamesGrößeUndMaß7Δοκιμή): collections.Names2DerivedFromOdd[] {
        return [{ where: source.deep.a.b.c, ключ: source.ключ, pair: [source.pair[0]], seen: 1 }];
    }
}
