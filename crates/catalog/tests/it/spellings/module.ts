export class Derivation implements IDerivation {
    fromClicksPublish(source) { return [source]; }
}
