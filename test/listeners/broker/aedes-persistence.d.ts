declare module "aedes-persistence/abstract.js" {
  export default function abstractPersistence(options: {
    test: (name: string, run: (context: unknown) => Promise<void>) => void;
    testAsync: boolean;
    persistence: () => Promise<unknown>;
  }): void;
}
