import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, taken } from "../../api/client.ts";
import { itemsOf } from "../../api/pages.ts";
import { sentence } from "../../api/problems.ts";
import type { Contact, ContactMergePreview } from "../../api/types.ts";
import { text } from "../../texts/index.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field } from "../../ui/field.tsx";
import { Failed, Loading } from "../../ui/states.tsx";
import { useMerge } from "./merging.ts";
import { contactsQuery, filterOf } from "./queries.ts";

/** Chooses who becomes one with a contact, and shows what that does before it is done. */
export function MergeDialog({ contact, onClose }: { contact: Contact; onClose: () => void }) {
  const [loser, setLoser] = useState<Contact>();
  return (
    <Dialog open onClose={onClose} title={text("merge.title", { name: contact.name })}>
      {loser ? (
        <Preview survivor={contact} loser={loser} onClose={onClose} onOther={() => setLoser(undefined)} />
      ) : (
        <Choose contact={contact} onChosen={setLoser} />
      )}
    </Dialog>
  );
}

function Choose({ contact, onChosen }: { contact: Contact; onChosen: (other: Contact) => void }) {
  const [typed, setTyped] = useState("");
  const query = useInfiniteQuery({ ...contactsQuery(filterOf(typed)), enabled: typed.trim().length > 1 });
  const others = itemsOf(query.data).filter((other) => other.contact_id !== contact.contact_id);
  return (
    <>
      <Field label={text("merge.search")} type="search" value={typed} onChange={(event) => setTyped(event.target.value)} />
      {query.isFetching ? <Loading rows={1} className="!p-0" /> : null}
      {query.isError ? <Failed error={query.error} /> : null}
      {query.isSuccess && others.length === 0 ? <p className="text-soft">{text("contacts.emptyFiltered")}</p> : null}
      <ul className="flex max-h-72 flex-col gap-1 overflow-y-auto">
        {others.map((other) => (
          <li key={other.contact_id}>
            <button
              type="button"
              className="w-full rounded-lg border border-line p-2 text-left hover:bg-quiet"
              onClick={() => onChosen(other)}
            >
              <bdi className="block font-medium">{other.name || text("contacts.nameless")}</bdi>
              <span className="text-sm text-soft">{other.phone || other.email}</span>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

interface PreviewProps {
  survivor: Contact;
  loser: Contact;
  onClose: () => void;
  onOther: () => void;
}

function Preview({ survivor, loser, onClose, onOther }: PreviewProps) {
  const merge = useMerge();
  const preview = useQuery({
    queryKey: ["merge-preview", survivor.contact_id, loser.contact_id],
    queryFn: ({ signal }) =>
      taken<ContactMergePreview>(
        api.GET("/api/v1/contacts/{contact_id}:previewMerge", {
          params: { path: { contact_id: survivor.contact_id }, query: { losing_contact_id: loser.contact_id } },
          signal,
        }),
      ),
    // What is decided here is decided by what is so now: an earlier look is not shown again.
    staleTime: 0,
    gcTime: 0,
  });
  if (preview.isPending) return <Loading rows={2} className="!p-0" />;
  if (preview.isError) return <Failed error={preview.error} onRetry={() => void preview.refetch()} />;
  const { moved_identities: moved, values, contact } = preview.data;
  return (
    <>
      <p>{text("merge.what", { survivor: survivor.name, loser: loser.name, count: moved.length })}</p>
      <ul className="flex flex-col gap-1 text-sm">
        {moved.map((identity) => (
          <li key={identity.contact_identity_id}>
            <bdi>{identity.conversation_key}</bdi>
          </li>
        ))}
        {values.map((value) => (
          <li key={value.field} className="text-soft">
            <bdi>{text("merge.value", { winner: value.surviving_value, other: value.losing_value })}</bdi>
          </li>
        ))}
      </ul>
      {merge.isError ? (
        <p role="alert" className="text-bad">
          {sentence(merge.error)}
        </p>
      ) : null}
      <div className="flex flex-wrap gap-2">
        <Button
          look="main"
          disabled={merge.isPending}
          onClick={() =>
            merge.mutate(
              { survivor: survivor.contact_id, loser: loser.contact_id, etag: contact?.etag ?? "" },
              { onSuccess: onClose },
            )
          }
        >
          {text("task.merge")}
        </Button>
        <Button onClick={onOther}>{text("merge.other")}</Button>
      </div>
    </>
  );
}
