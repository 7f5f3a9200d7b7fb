// Lambdas of partitions.flow.yaml.

import { collections, interfaces } from 'flow/modules';

export class FleetAlarms implements interfaces.FleetAlarms {
    readingPublish({ id, ship }: collections.FleetReadings): collections.FleetAlarms[] {
        return [{ id, ship }];
    }
}

export class FleetSeas implements interfaces.FleetSeas {
    northPublish(_source: collections.FleetReadings): collections.FleetSeas[] {
        return [{ sea: 'north', readings: 1 }];
    }

    othersPublish({ position }: collections.FleetReadings): collections.FleetSeas[] {
        return [{ sea: position.sea, readings: 1 }];
    }
}
