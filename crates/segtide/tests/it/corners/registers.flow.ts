import { collections, interfaces, registers } from 'flow/modules';
export class DCross implements interfaces.DCross {
  fromIntsUpdate(source: collections.DInts): registers.DCross[] { return [source.Int]; }
  fromIntsPublish(source: collections.DInts, register: registers.DCross, previous: registers.DCross): collections.DCross[] {
    return [{ Key: source.Key, Int: source.Int, was: previous, is: register }];
  }
}
export class DMixed {
  upUpdate(source: any) { return source.Int === 0 ? [] : [{ n: source.Int }, { n: source.Int }]; }
  pubPublish(source: any, register: any, previous: any) { return [{ Key: source.Key, n: register.n, same: register.n === previous.n }]; }
}
export class DLate {
  liveUpdate(source: any) { return [source.Int]; }
  delayedPublish(source: any, register: any) { return [{ Key: source.Key, Int: source.Int, seen: register }]; }
}
export class DCycle {
  seedPublish(source: any) { return [{ Key: source.Key, Int: source.Int }]; }
  async selfPublish(source: any) { return source.Int > 0 ? [{ Key: source.Key, Int: source.Int - 1 }] : []; }
}
export class DWeirdNameOfThings { fromTheInts2Publish(source: any) { return [{ k: source.Key }]; } }
