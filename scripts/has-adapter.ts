/** Exit code 0 if there is an adapter that computes. Dawn's own warning about an old driver is not for the user. */
import { listAdapters } from "../src/device/list";

process.exit(listAdapters().length > 0 ? 0 : 1);
