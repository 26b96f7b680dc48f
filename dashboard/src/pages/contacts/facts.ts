import type { QueryClient } from "@tanstack/react-query";
import type { Fact } from "../../api/live.ts";
import { changeItem, type Paged, raiseItem } from "../../api/pages.ts";
import type { Contact, ContactIdentity } from "../../api/types.ts";
import { refetchContacts } from "./following.ts";
import { type ContactFilter, contactKeys } from "./queries.ts";

/** Brings what is shown of contacts to where a fact says they are; answers whether the fact was of that kind. */
export function applyContactFact(client: QueryClient, fact: Fact): boolean {
  switch (fact.type.replace("prosa.identity.v1.", "")) {
    case "ContactCreated":
      addContact(client, (fact.data as unknown as { contact: Contact }).contact);
      return true;
    case "ContactUpdated":
      changeContact(client, (fact.data as unknown as { contact: Contact }).contact);
      return true;
    case "ContactsMerged":
    case "ContactMergeUndone":
      // Every list that names a contact may show another one now.
      refetchContacts(client);
      return true;
    case "ContactIdentityLinked":
    case "ContactIdentityPromoted": {
      // Only the contact's own answer has all of its identities.
      const { identity } = fact.data as unknown as { identity: ContactIdentity };
      void client.invalidateQueries({ queryKey: contactKeys.one(identity.contact_id) });
      return true;
    }
    default:
      return false;
  }
}

function addContact(client: QueryClient, contact: Contact): void {
  const same = (other: Contact): boolean => other.contact_id === contact.contact_id;
  for (const query of client.getQueryCache().findAll({ queryKey: contactKeys.lists })) {
    const filter = query.queryKey[1] as ContactFilter;
    // Whom a search finds only the server knows.
    if (filter.name || filter.phone) continue;
    client.setQueryData<Paged<Contact>>(query.queryKey, (paged) => paged && raiseItem(paged, same, contact));
  }
}

function changeContact(client: QueryClient, contact: Contact): void {
  const change = (known: Contact): Contact => ({ ...contact, identities: known.identities });
  client.setQueryData<Contact>(contactKeys.one(contact.contact_id), (known) => known && change(known));
  client.setQueriesData<Paged<Contact>>(
    { queryKey: contactKeys.lists },
    (paged) => paged && changeItem(paged, (other) => other.contact_id === contact.contact_id, change),
  );
}
