// The lambda of flow.yaml: a view is one more for its page, and the schema says how such documents add up.

import { collections, interfaces } from 'flow/modules';

export class AcmePages implements interfaces.AcmePages {
    fromViewsPublish(source: collections.AcmeViews): collections.AcmePages[] {
        return [{ page: source.page, views: 1 }];
    }
}
