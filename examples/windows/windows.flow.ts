// Lambdas of windows.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class MuseumVisitors implements interfaces.MuseumVisitors {
    visitPublish({ visitor }: collections.MuseumVisits): collections.MuseumVisitors[] {
        return [{ visitor, visits: 1 }];
    }
}

export class MuseumMissed implements interfaces.MuseumMissed {
    seenUpdate({ at }: collections.MuseumVisits): registers.MuseumMissed[] {
        return [at];
    }

    missingPublish({ visitor, at }: collections.MuseumVisits, last: registers.MuseumMissed): collections.MuseumMissed[] {
        return at === last ? [{ visitor, lastSeen: at, times: 1 }] : [];
    }
}

export class MuseumSessions implements interfaces.MuseumSessions {
    comeUpdate({ at }: collections.MuseumVisits): registers.MuseumSessions[] {
        return [{ open: { add: [at] }, visits: 1 }];
    }

    leaveUpdate({ at }: collections.MuseumVisits): registers.MuseumSessions[] {
        return [{ open: { remove: [at] } }];
    }

    leavePublish(
        { visitor, at }: collections.MuseumVisits,
        register: registers.MuseumSessions,
        previous: registers.MuseumSessions,
    ): collections.MuseumSessions[] {
        const [left, were] = [register.open?.add?.length ?? 0, previous.open?.add?.length ?? 0];
        return left === 0 && were > 0 ? [{ visitor, ended: at, visits: register.visits ?? 0 }] : [];
    }
}

export class MuseumLetters implements interfaces.MuseumLetters {
    seenUpdate({ at }: collections.MuseumVisits): registers.MuseumLetters[] {
        return [at];
    }

    missedPublish({ visitor, lastSeen }: collections.MuseumMissed, last: registers.MuseumLetters): collections.MuseumLetters[] {
        return lastSeen === last ? [{ visitor, weMissYouSince: lastSeen }] : [];
    }
}
