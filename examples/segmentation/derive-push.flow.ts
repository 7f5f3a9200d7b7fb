// Lambdas of derive-push.flow.yaml.

import { collections, interfaces, registers } from 'flow/modules';

export class ExamplesSegmentProfilesPush implements interfaces.ExamplesSegmentProfilesPush {
    fromSegmentationUpdate(source: collections.ExamplesSegmentEvents): registers.ExamplesSegmentProfilesPush[] {
        const { segment, timestamp, value } = source;
        return source.remove
            ? [[{ segment, last: timestamp, member: false }]]
            : [[{ segment, first: timestamp, last: timestamp, member: true, value }]];
    }

    fromSegmentationPublish(
        source: collections.ExamplesSegmentEvents,
        register: registers.ExamplesSegmentProfilesPush,
        _previous: registers.ExamplesSegmentProfilesPush,
    ): collections.ExamplesSegmentProfilesPush[] {
        return [{ user: source.user, segments: register }];
    }
}
