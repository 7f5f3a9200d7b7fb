import { collections, interfaces, registers } from 'flow/modules';

// One membership per event: who was added to a segment or removed from it, and when.
export class ExamplesSegmentMemberships implements interfaces.ExamplesSegmentMemberships {
    fromEventsPublish(
        source: collections.ExamplesSegmentEvents,
        _register: registers.ExamplesSegmentMemberships,
        _previous: registers.ExamplesSegmentMemberships,
    ): collections.ExamplesSegmentMemberships[] {
        const { segment, user, timestamp, value, remove } = source;
        if (remove) {
            return [{ segment, user, last: timestamp, member: false }];
        }
        return [{ segment, user, first: timestamp, last: timestamp, member: true, value }];
    }
}

// A profile holds one detail per segment; reduction gathers the details of a user.
export class ExamplesSegmentProfiles implements interfaces.ExamplesSegmentProfiles {
    fromEventsPublish(
        source: collections.ExamplesSegmentEvents,
        _register: registers.ExamplesSegmentProfiles,
        _previous: registers.ExamplesSegmentProfiles,
    ): collections.ExamplesSegmentProfiles[] {
        const detail: any = { segment: source.segment, last: source.timestamp, member: !source.remove };
        if (!source.remove) {
            detail.first = source.timestamp;
            if (source.value !== undefined) {
                detail.value = source.value;
            }
        }
        return [{ user: source.user, segments: [detail] }];
    }
}

// Only events that turn a known status around.
export class ExamplesSegmentToggles implements interfaces.ExamplesSegmentToggles {
    fromEventsUpdate(source: collections.ExamplesSegmentEvents): registers.ExamplesSegmentToggles[] {
        return [source.remove ? { event: source } : { event: source, firstAdd: true }];
    }

    fromEventsPublish(
        source: collections.ExamplesSegmentEvents,
        _register: registers.ExamplesSegmentToggles,
        previous: registers.ExamplesSegmentToggles,
    ): collections.ExamplesSegmentToggles[] {
        if (!previous.firstAdd || previous.event!.remove === source.remove) {
            return [];
        }
        return [{ ...source, previous: previous.event! }];
    }
}
