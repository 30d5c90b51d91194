/** The map's colours; the page around it has its own in map.css. */
export type Rgb = [red: number, green: number, blue: number];

export type Palette = {
  water: string;
  land: string;
  border: string;
  coast: string;
  label: string;
  halo: string;
  /** Streets by kind. */
  ring: string;
  arterial: string;
  collector: string;
  local: string;
  accent: Rgb;
  /** Drivers that stand still. */
  still: Rgb;
  /** Edge of a marker, against streets of its colour. */
  edge: Rgb;
  selected: Rgb;
};

export const palettes: Record<"dark" | "light", Palette> = {
  dark: {
    water: "#0a0e13",
    land: "#12181f",
    border: "#2b3540",
    coast: "#26303a",
    label: "#77848f",
    halo: "#12181f",
    ring: "#3b4855",
    arterial: "#323d49",
    collector: "#263039",
    local: "#1d252d",
    accent: [255, 170, 51],
    still: [140, 153, 166],
    edge: [12, 16, 21],
    selected: [255, 255, 255],
  },
  light: {
    water: "#d3dde4",
    land: "#f4f3f0",
    border: "#bcc1c4",
    coast: "#b9c6cf",
    label: "#6a737b",
    halo: "#f4f3f0",
    ring: "#d2cbbf",
    arterial: "#ddd7cd",
    collector: "#e4e0d9",
    local: "#eae7e2",
    accent: [208, 74, 2],
    still: [112, 122, 131],
    edge: [255, 255, 255],
    selected: [20, 26, 32],
  },
};
