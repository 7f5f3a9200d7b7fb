// Lambdas of schemas.flow.yaml.

import { collections, interfaces, transforms } from 'flow/modules';

export class BoardRanking implements interfaces.BoardRanking {
    postPublish({ title, stars, tags }: transforms.BoardRankingpostSource): collections.BoardRanking[] {
        return (tags ?? []).map((tag) => ({ tag, stars, best: { stars, titles: [title] } }));
    }
}
