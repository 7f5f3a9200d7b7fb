export class QOut {
  fromAPublish(source: any) { return [{ k: 'x', seen: ['a' + source.id] }]; }
  fromBPublish(source: any) { return [{ k: 'x', seen: ['b' + source.id] }]; }
}
export class QStateful {
  aUpdate(source: any) { return [{ seen: { remove: { ['y' + source.id]: 0 }, add: { ['x' + source.id]: 1 } } }]; }
  aPublish(source: any, register: any, previous: any) { return [{ k: source.id, n: register, p: previous }]; }
  bUpdate(source: any) { return [{ seen: { add: { ['y' + source.id]: 1 } } }]; }
}
