//! The TypeScript types of the golden catalog, and of the later spellings.

use expect_test::expect;
use url::Url;

use crate::host::{Memory, Shop};

fn types(files: &Memory, root: &str) -> String {
    let (built, files) = catalog::types(&Url::parse("file:///w/").unwrap().join(root).unwrap(), files, &Shop);
    assert!(built.is_sound());
    files.iter().map(|file| format!("=== {}\n{}", file.path, file.text)).collect()
}

#[test]
fn types_of_the_golden_catalog() {
    expect![[r#"
        === flow_generated/flow/anchors.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of `$anchor: Customer`. */
        export type Customer = {
            customer?: string;
            mixed?: number | string;
            note?: string;
            orders: number;
            tags?: string[];
        };
        === flow_generated/flow/collections.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of `acme/customers`. */
        export type AcmeCustomers = {
            customer: string;
            mixed?: number | string;
            note?: string;
            orders: number;
            tags?: string[];
        };

        /** Of `acme/orders`. */
        export type AcmeOrders = {
            amount: number;
            code?: number | string;
            customer: string;
            gone?: never;
            id: string;
            lines?: {
                sku?: string;
            }[];
            paid: boolean;
            region: "eu" | "us" | "asia";
        };
        === flow_generated/flow/registers.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of the registers of `acme/customers`. */
        export type AcmeCustomers = {
            seen?: boolean;
        };
        === flow_generated/flow/transforms.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of what `fromSelf` reads of `acme/customers`. */
        export type AcmeCustomersfromSelfSource = {
            customer: string;
            mixed?: number | string;
            note?: string;
            orders: number;
            tags?: string[];
        };
        === flow_generated/flow/interfaces.ts
        // Written by `segtide generate types`; changes are lost.

        import * as collections from './collections';
        import * as registers from './registers';
        import * as transforms from './transforms';

        /** The lambdas of `acme/customers`. */
        export interface AcmeCustomers {
            fromOrdersUpdate(source: collections.AcmeOrders): registers.AcmeCustomers[];
            fromOrdersPublish(source: collections.AcmeOrders, register: registers.AcmeCustomers, previous: registers.AcmeCustomers): collections.AcmeCustomers[];
            fromSelfPublish(source: transforms.AcmeCustomersfromSelfSource, register: registers.AcmeCustomers, previous: registers.AcmeCustomers): collections.AcmeCustomers[];
        }
        === flow_generated/flow/modules.d.ts
        // Written by `segtide generate types`; changes are lost.

        import * as anchors from './anchors';
        import * as collections from './collections';
        import * as interfaces from './interfaces';
        import * as registers from './registers';
        import * as transforms from './transforms';

        export { anchors, collections, interfaces, registers, transforms };
        === flow_generated/tsconfig.json
        {
            "compilerOptions": {
                "strict": true,
                "noEmit": true,
                "skipLibCheck": true,
                "target": "es2022",
                "lib": ["es2023", "dom"],
                "types": [],
                "module": "esnext",
                "moduleResolution": "bundler",
                "allowImportingTsExtensions": true,
                "paths": { "flow/*": ["./flow/*", "./typescript/*"] }
            },
            "files": ["./flow/modules.d.ts", "../orders.flow.ts"]
        }
    "#]].assert_eq(&types(&Memory::golden(), "catalog.yaml"));
}

#[test]
fn types_of_a_module_and_of_a_base_class() {
    let mut files = Memory::of("spellings");
    let catalog = r#"
import: [2022.yaml]
collections:
  acme/modern:
    schema: 2020-12.yaml#/collections/0/schema
    key: [/id]
    derive:
      using: { typescript: { module: modern.ts } }
      transforms: [{ name: from-clicks, source: acme/clicks, shuffle: any }]
"#;
    files.0.insert("catalog.yaml".into(), catalog.into());
    files.0.insert("modern.ts".into(), "export class Derivation extends IDerivation { fromClicks(read) {} }".into());
    let text = types(&files, "catalog.yaml");
    let parts: Vec<&str> = text.split("=== ").filter(|part| part.contains("IDerivation")).collect();
    expect![[r#"
        flow_generated/flow/acme/mirror.d.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of `acme/mirror`. */
        export type Document = {
            id: number;
            user: string;
        };

        /** Of its registers. */
        export type Register = unknown;

        /** Of `acme/clicks`. */
        export type CopySource = {
            id: number;
            user: string;
        };

        /** Its lambdas. */
        export interface IDerivation {
            copyPublish(source: CopySource, register: Register, previous: Register): Document[];
        }
        flow_generated/typescript/acme/modern.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of `acme/modern`. */
        export type Document = {
            id: number;
            user: string;
        };

        /** Of `acme/clicks`. */
        export type SourceFromClicks = {
            id: number;
            user: string;
        };

        /** What a derivation extends. */
        export abstract class IDerivation {
            constructor(_open: { state: unknown }) {}

            /** Is called at the end of a transaction. */
            async flush(): Promise<Document[]> {
                return [];
            }

            /** Is called between tests: forget what is kept. */
            async reset(): Promise<void> {}

            startCommit(_request: unknown): { state?: { updated: unknown; mergePatch: boolean } } {
                return {};
            }

            abstract fromClicks(read: { doc: SourceFromClicks }): Document[];
        }
        flow_generated/flow/acme/module.d.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of `acme/module`. */
        export type Document = {
            id: number;
            user: string;
        };

        /** Of its registers. */
        export type Register = unknown;

        /** Of `acme/clicks`. */
        export type FromClicksSource = {
            id: number;
            user: string;
        };

        /** Its lambdas. */
        export interface IDerivation {
            fromClicksPublish(source: FromClicksSource, register: Register, previous: Register): Document[];
        }
        flow_generated/flow/acme/users.d.ts
        // Written by `segtide generate types`; changes are lost.

        /** Of `acme/users`. */
        export type Document = {
            clicks?: number;
            user: string;
        };

        /** Of its registers. */
        export type Register = number;

        /** Of `acme/clicks`. */
        export type ClicksSource = {
            id: number;
            user: string;
        };

        /** Its lambdas. */
        export interface IDerivation {
            clicksUpdate(source: ClicksSource): Register[];
            clicksPublish(source: ClicksSource, register: Register, previous: Register): Document[];
        }
    "#]]
    .assert_eq(&parts.concat());
}
