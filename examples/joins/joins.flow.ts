// Lambdas of joins.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class JoinsOuter implements interfaces.JoinsOuter {
    ownersPublish({ owner, name }: collections.JoinsOwners): collections.JoinsOuter[] {
        return [{ owner, name }];
    }

    petsPublish({ owner, pet, age }: collections.JoinsPets): collections.JoinsOuter[] {
        return [{ owner, pets: [{ pet, age }] }];
    }
}

export class JoinsInner implements interfaces.JoinsInner {
    ownersUpdate({ owner, name }: collections.JoinsOwners): registers.JoinsInner[] {
        return [{ owner, name }];
    }

    petsUpdate({ owner, pet, age }: collections.JoinsPets): registers.JoinsInner[] {
        return [{ owner, pets: [{ pet, age }] }];
    }

    ownersPublish(_source: collections.JoinsOwners, register: registers.JoinsInner): collections.JoinsInner[] {
        return joined(register);
    }

    petsPublish(_source: collections.JoinsPets, register: registers.JoinsInner): collections.JoinsInner[] {
        return joined(register);
    }
}

function joined({ owner, name, pets }: registers.JoinsInner): collections.JoinsInner[] {
    return owner !== undefined && name !== undefined && pets !== undefined ? [{ owner, name, pets }] : [];
}

export class JoinsTags implements interfaces.JoinsTags {
    ownersUpdate(source: collections.JoinsOwners): registers.JoinsTags[] {
        return [source.name];
    }

    petsPublish({ owner, pet }: collections.JoinsPets, name: registers.JoinsTags): collections.JoinsTags[] {
        return [{ owner, pet, name }];
    }
}
