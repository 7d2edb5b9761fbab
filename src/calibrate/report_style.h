// SPDX-License-Identifier: Apache-2.0
// The style of a calibration report: colours for light and dark pages, and what the classes of
// chart.cc look like. One sequential ramp of a single hue, from the page's own colour to its
// opposite; two colours for classes that people who confuse red and green tell apart.
#pragma once

#include <string_view>

namespace nextscale {

inline constexpr std::string_view kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #ffffff; --ink: #1b1d21; --soft: #5c626b; --rule: #e3e4e1;
  --c0: #d9622b; --c1: #2a6fc4; --c2: #2e8b6f; --c3: #8a5fc0; --cr: #8d939c;
  --q0: #eaf2fb; --q1: #d0e2f5; --q2: #b1cfed; --q3: #8db9e3; --q4: #69a1d8;
  --q5: #4887c8; --q6: #2e6cb0; --q7: #1d5292; --q8: #103a6e; --none: #f0f0ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171a; --card: #1d2024; --ink: #e8e9eb; --soft: #9aa1ab; --rule: #31353b;
    --c0: #f08a4f; --c1: #5b9cec; --c2: #4fb894; --c3: #b08be6; --cr: #8a919b;
    --q0: #1f2b3a; --q1: #213a57; --q2: #244b74; --q3: #2b5f93; --q4: #3776b2;
    --q5: #4c8fcd; --q6: #6ea9e0; --q7: #9ac5ee; --q8: #cfe4f9; --none: #24272c;
  }
}
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 24px; margin: 0 0 4px; }
.lead { color: var(--soft); margin: 0 0 24px; }
figure { margin: 0 0 24px; padding: 20px 24px; background: var(--card); border-radius: 10px;
  border: 1px solid var(--rule); }
figure h2 { font-size: 17px; margin: 0 0 2px; }
figure p { color: var(--soft); margin: 0 0 12px; max-width: 70ch; }
svg { display: block; width: 100%; height: auto; }
svg .t { font-size: 10px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .a { font-size: 11px; fill: var(--soft); }
svg .h { font-size: 12px; fill: var(--ink); font-weight: 600; }
svg .g { stroke: var(--rule); stroke-width: 1; }
svg .k { stroke: var(--ink); stroke-width: 1.25; stroke-dasharray: 4 3; }
svg .l { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .sc0 { stroke: var(--c0); } svg .sc1 { stroke: var(--c1); } svg .sc2 { stroke: var(--c2); }
svg .sc3 { stroke: var(--c3); } svg .scr { stroke: var(--cr); stroke-dasharray: 6 4; }
svg .c0 { fill: var(--c0); } svg .c1 { fill: var(--c1); } svg .c2 { fill: var(--c2); }
svg .c3 { fill: var(--c3); } svg .cr { fill: var(--cr); }
svg circle { stroke: var(--card); stroke-width: 1.5; }
svg .q0 { fill: var(--q0); } svg .q1 { fill: var(--q1); } svg .q2 { fill: var(--q2); }
svg .q3 { fill: var(--q3); } svg .q4 { fill: var(--q4); } svg .q5 { fill: var(--q5); }
svg .q6 { fill: var(--q6); } svg .q7 { fill: var(--q7); } svg .q8 { fill: var(--q8); }
svg .none { fill: var(--none); }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); font-size: 13px; }
.scroll { overflow: auto; max-height: 420px; margin-top: 8px; }
table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px 3px 0; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font-size: 13px; }
)css";

}  // namespace nextscale
