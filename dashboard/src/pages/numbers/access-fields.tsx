import { text } from "../../texts/index.ts";
import { Field } from "../../ui/field.tsx";

/** Where a number's Evolution is, and its key. */
export function AccessFields({ problem }: { problem: (field: string) => string | undefined }) {
  return (
    <>
        <Field
        label={text("numbers.baseUrl")}
        name="base_url"
        type="url"
        required
        maxLength={2048}
        problem={problem("base_url")}
      />
      <Field
        label={text("numbers.token")}
        name="access_token"
        type="password"
        autoComplete="off"
        required
        maxLength={1024}
        problem={problem("access_token")}
      />
    </>
  );
}
