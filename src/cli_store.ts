/** The commands about the store: how it is, and which table counts after it lost the one that is served. */
import { get, print, printJson, write, type Shell, type WriteOptions } from "./cli_shell.ts";
import { clean, paint } from "./render.ts";
import { EXIT } from "./terminal.ts";

/** Shows where the table is kept; the answer is no when what is there is not in use. */
export async function storeShow(shell: Shell): Promise<number> {
  const store = await get<"StoreAnswer">(shell, "/v1/store");
  const code = store.condition === "ok" ? EXIT.ok : EXIT.no;
  if (shell.isJson) {
    printJson(shell, store);
    return code;
  }
  const look = shell.terminal.outLook;
  const isOk = store.condition === "ok";
  const { served_from: from, served_revision: revision } = store;
  const kept = from === "disk" ? ", as it was kept on this machine's disk" : "";
  print(shell, `${store.kind} store: ${clean(store.where)}`);
  print(shell, `condition: ${paint(look, isOk ? "green" : "red", store.condition)} since ${store.since}`);
  if (!isOk) print(shell, `  ${clean(store.detail)}`);
  print(shell, from === "none" ? "served: no table" : `served: revision ${revision}${kept}`);
  for (const warning of store.warnings) print(shell, paint(look, "yellow", `warning: ${clean(warning)}`));
  return code;
}

/** Says which table counts: the served one, or the one that the store holds. */
export function storeReseed(
  shell: Shell,
  options: WriteOptions & { readonly from: "served" | "stored" },
): Promise<number> {
  const body = { from: options.from, ...(options.reason === undefined ? {} : { reason: options.reason }) };
  const { reason: _, ...rest } = options;
  return write(shell, "store", { method: "POST", path: "/v1/store/reseed", body }, rest);
}
