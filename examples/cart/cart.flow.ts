// Lambdas of cart.flow.yaml.

import { anchors, collections, interfaces, registers } from 'flow/modules';

export class CartPriced implements interfaces.CartPriced {
    goodUpdate(source: collections.CartGoods): registers.CartPriced[] {
        return [source.price];
    }

    changePublish({ customer, sku, quantity }: collections.CartChanges, price: registers.CartPriced): collections.CartPriced[] {
        return price === null ? [] : [{ customer, sku, quantity, price }];
    }
}

export class CartCarts implements interfaces.CartCarts {
    changeUpdate({ sku, quantity, price }: collections.CartPriced): registers.CartCarts[] {
        return quantity === 0 ? [{ remove: [{ sku }] }] : [{ add: [{ sku, quantity, price }] }];
    }

    checkoutUpdate(_source: collections.CartCheckouts): registers.CartCarts[] {
        return [{ intersect: [] }];
    }

    changePublish({ customer }: collections.CartPriced, goods: registers.CartCarts): collections.CartCarts[] {
        return [cart(customer, goods)];
    }

    checkoutPublish({ customer }: collections.CartCheckouts, goods: registers.CartCarts): collections.CartCarts[] {
        return [cart(customer, goods)];
    }
}

function cart(customer: string, { add }: anchors.Goods): anchors.Cart {
    const goods = (add ?? []).map(({ sku, quantity = 0, price = 0 }) => ({ sku, quantity, price }));
    const total = goods.reduce((sum, { quantity, price }) => sum + quantity * price, 0);
    return { customer, goods, kinds: goods.length, total };
}

export class CartPurchases implements interfaces.CartPurchases {
    cartUpdate(source: collections.CartCarts): registers.CartPurchases[] {
        return [source];
    }

    checkoutPublish({ customer, at }: collections.CartCheckouts, cart: registers.CartPurchases): collections.CartPurchases[] {
        return cart === null || cart.kinds === 0 ? [] : [{ ...cart, customer, at }];
    }
}
