interface SvgProps {
  /** A whole SVG document, as the server drew it. */
  source: string;
  label: string;
  className?: string;
}

/** Shows an SVG as a picture: whatever stands in it, as a picture it runs nothing. */
export function Svg({ source, label, className }: SvgProps) {
  return <img src={`data:image/svg+xml,${encodeURIComponent(source)}`} alt={label} className={className} />;
}
