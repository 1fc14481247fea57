// The script of every signed-in page. The server renders each state; this makes it quick and live.
import htmx from "htmx.org";
import { startHighlight } from "./highlight";
import { startKeyboard } from "./keyboard";
import { startLive } from "./live";
import { startPolicy } from "./policy";
import { startRecords } from "./records";
import { startTooltip } from "./tooltip";
import { startVisits } from "./visit";
import { suggestZone } from "./zone";

// htmx itself waits for a timer, and a key pressed before it would send the search as a plain form.
htmx.process(document.body);
startVisits();
startHighlight();
startTooltip();
startKeyboard();
startLive();
suggestZone();
startPolicy();
startRecords();
