import type { Query, QueryClient } from "@tanstack/react-query";
import type { Fact } from "./live.ts";

/** So many facts are kept while answers are waited for; whoever waits longer is right again with the next answer. */
const FACTS_MAX = 2_000;

/**
 * Remembers what was told while something was being asked for: the answer may have been made before, and would else
 * take back what a fact has shown, or leave out what it told of.
 */
export class Overtaken {
  /** By the number of facts before their request, those who wait for an answer. */
  readonly #begun = new Map<Query, number>();
  readonly #end: () => void;
  #facts: Fact[] = [];
  #count = 0;

  constructor(client: QueryClient, again: (fact: Fact) => void) {
    this.#end = client.getQueryCache().subscribe((event) => {
      if (event.type === "removed") this.#forget(event.query);
      if (event.type !== "updated") return;
      const { action, query } = event;
      if (action.type === "fetch") this.#begun.set(query, this.#count);
      const missed = action.type === "success" && !action.manual ? this.#missedBy(query) : [];
      // Answered, failed or cancelled: nobody waits any more.
      if (query.state.fetchStatus === "idle") this.#forget(query);
      for (const fact of missed) again(fact);
    });
  }

  /** Takes note of a fact. */
  note(fact: Fact): void {
    this.#count += 1;
    if (this.#begun.size > 0) this.#facts = [...this.#facts.slice(1 - FACTS_MAX), fact];
  }

  end(): void {
    this.#end();
  }

  #missedBy(query: Query): Fact[] {
    const missed = this.#count - (this.#begun.get(query) ?? this.#count);
    return missed > 0 ? this.#facts.slice(-missed) : [];
  }

  #forget(query: Query): void {
    this.#begun.delete(query);
    if (this.#begun.size === 0) this.#facts = [];
  }
}
