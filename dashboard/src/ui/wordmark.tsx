/** Our name, as we write it. */
export function Wordmark() {
  return (
    <span className="font-bold tracking-tight">
      {"prosa"}
      <span className="text-accent">{"."}</span>
    </span>
  );
}
