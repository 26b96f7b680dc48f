import { Link } from "@tanstack/react-router";
import { text } from "../texts/index.ts";

const LOOK = "text-accent underline underline-offset-2";

/** Where people begin to write to: what comes in fills the page. */
export function ConnectNumber() {
  return (
    <Link to="/numbers" className={LOOK}>
      {text("empty.numbers")}
    </Link>
  );
}

/** For what is made by programs: the page of the interface. */
export function MakeByApi() {
  return (
    <a href="/api/docs" className={LOOK}>
      {text("empty.api")}
    </a>
  );
}
