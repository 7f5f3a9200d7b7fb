// Lambdas of graph.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class ReferralsReach implements interfaces.ReferralsReach {
    signUpUpdate({ referrer }: collections.ReferralsSignUps): registers.ReferralsReach[] {
        return referrer === undefined ? [] : [referrer];
    }

    signUpPublish({ referrer }: collections.ReferralsSignUps): collections.ReferralsReach[] {
        return referrer === undefined ? [] : [{ member: referrer, hops: 1, people: 1 }];
    }

    passOnPublish(
        { hops, people }: collections.ReferralsReach,
        referrer: registers.ReferralsReach,
    ): collections.ReferralsReach[] {
        return referrer === null || hops === 3 ? [] : [{ member: referrer, hops: hops + 1, people }];
    }
}

export class MetersAmounts implements interfaces.MetersAmounts {
    readingPublish({ meter, day, kwh }: collections.MetersReadings): collections.MetersAmounts[] {
        return kwh === undefined ? [] : [{ meter, day, kwh }];
    }
}

export class MetersPrices implements interfaces.MetersPrices {
    readingPublish({ meter, price }: collections.MetersReadings): collections.MetersPrices[] {
        return price === undefined ? [] : [{ meter, price }];
    }
}

export class MetersBills implements interfaces.MetersBills {
    amountPublish({ meter, kwh }: collections.MetersAmounts, price: registers.MetersBills): collections.MetersBills[] {
        return [{ meter, kwh, cost: kwh * price }];
    }

    priceUpdate({ price }: collections.MetersPrices): registers.MetersBills[] {
        return [price];
    }
}
