import { type Language, LANGUAGES, setLanguage, text, useLanguage } from "../texts/index.ts";
import { Choice } from "../ui/choice.tsx";
import { setTheme, THEMES, useTheme } from "../ui/theme.ts";

// A language is named in itself, whatever the page speaks.
const NAMES: Record<Language, string> = { "pt-BR": "Português", en: "English" };

/** Language and colours; both are this browser's. */
export function Preferences() {
  const language = useLanguage();
  const theme = useTheme();
  return (
    <>
      <Choice
        label={text("preference.language")}
        value={language}
        options={LANGUAGES.map((value) => ({ value, label: NAMES[value] }))}
        onChange={(value) => void setLanguage(value)}
      />
      <Choice
        label={text("preference.theme")}
        value={theme}
        options={THEMES.map((value) => ({ value, label: text(`theme.${value}`) }))}
        onChange={setTheme}
      />
    </>
  );
}
