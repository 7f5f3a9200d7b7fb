// Lambdas of derive.flow.yaml: one class per derivation, one method per lambda.

import { collections, interfaces, registers } from 'flow/modules';

export class ExamplesSegmentMemberships implements interfaces.ExamplesSegmentMemberships {
    fromSegmentationPublish(source: collections.ExamplesSegmentEvents): collections.ExamplesSegmentMemberships[] {
        const { user, segment, timestamp, value } = source;
        // A removal says nothing of `first` or `value`, so reduction keeps what was there.
        return source.remove
            ? [{ user, segment, last: timestamp, member: false }]
            : [{ user, segment, first: timestamp, last: timestamp, member: true, value }];
    }
}

export class ExamplesSegmentProfiles implements interfaces.ExamplesSegmentProfiles {
    fromSegmentationPublish(source: collections.ExamplesSegmentEvents): collections.ExamplesSegmentProfiles[] {
        const { user, segment, timestamp, value } = source;
        return source.remove
            ? [{ user, segments: [{ segment, last: timestamp, member: false }] }]
            : [{ user, segments: [{ segment, first: timestamp, last: timestamp, member: true, value }] }];
    }
}

export class ExamplesSegmentToggles implements interfaces.ExamplesSegmentToggles {
    fromSegmentationUpdate(source: collections.ExamplesSegmentEvents): registers.ExamplesSegmentToggles[] {
        return source.remove ? [{ event: source }] : [{ event: source, firstAdd: true }];
    }

    fromSegmentationPublish(
        source: collections.ExamplesSegmentEvents,
        _register: registers.ExamplesSegmentToggles,
        previous: registers.ExamplesSegmentToggles,
    ): collections.ExamplesSegmentToggles[] {
        // Nobody toggles before the first add.
        if (previous.event && previous.firstAdd && previous.event.remove !== source.remove) {
            return [{ ...source, previous: previous.event }];
        }
        return [];
    }
}
