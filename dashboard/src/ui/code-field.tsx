import { text } from "../texts/index.ts";
import { Field } from "./field.tsx";

/** Where the digits of the authenticator are typed, or a recovery code. */
export function CodeField({ problem, setUp = false }: { problem?: string | undefined; setUp?: boolean }) {
  return (
    <Field
      label={text(setUp ? "secondFactor.code" : "secondFactor.codeOrRecovery")}
      name="code"
      autoComplete="one-time-code"
      inputMode={setUp ? "numeric" : "text"}
      autoCapitalize="off"
      spellCheck={false}
      required
      minLength={6}
      maxLength={64}
      problem={problem}
    />
  );
}
