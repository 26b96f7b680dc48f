/** Where to go after the sign-in: only ever a page of ours, whatever stands in the address. */
export function pageOf(back: string | undefined): string {
  if (!back) return "/conversations";
  const address = new URL(back, window.location.origin);
  return address.origin === window.location.origin && back.startsWith("/") && !back.startsWith("//")
    ? back
    : "/conversations";
}
