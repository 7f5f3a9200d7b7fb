export class AcmeCustomers implements interfaces.AcmeCustomers {
    fromOrdersUpdate(source) { return [{ seen: true }]; }
    fromOrdersPublish(source, register, previous) { return [{ customer: source.customer, orders: 1 }]; }
    fromSelfPublish(source, register, previous) { return []; }
}
