import { anchors, collections, interfaces, registers, transforms } from 'flow/modules';

enum Sep { Colon = ':' }
const text = (r: registers.NOut): string => JSON.stringify(r);

export class NOut implements interfaces.NOut {
    static readonly #sep = Sep.Colon;
    giftsOnlyUpdate(source: collections.NShopCartUpdatesWithProducts2): registers.NOut[] {
        return [[source.n]];
    }
    allPublish(
        source: transforms.NOutallSource,
        register: registers.NOut,
        previous: registers.NOut,
    ): collections.NOut[] {
        if (register !== previous && text(register) !== text(previous)) throw new Error('differs');
        return [{ u: source.user.id, log: [`${source.note}${NOut.#sep}${text(register)}`] }];
    }
    zzClearUpdate({ user }: collections.NShopCartUpdatesWithProducts2): registers.NOut[] {
        return user ? ['clear' as const] : [];
    }
    zzClearPublish(source: collections.NShopCartUpdatesWithProducts2, register: registers.NOut, previous: registers.NOut): collections.NOut[] {
        return [{ u: source.user.id, log: [`cleared:${text(previous)}->${text(register)}`] }];
    }
}
