/**
 * MAC addresses as values: one canonical text (lower case, colons), which is also the key of every map.
 */

/** Canonical text of an EUI-48 address: "aa:bb:cc:00:11:22". Made by the functions here, so equality is string equality. */
export type MacAddress = string & { readonly __mac: never };

/** Bytes of an EUI-48 address. */
export const MAC_LENGTH = 6;

/** Text or bytes that are no MAC address. */
export class MacAddressError extends Error {
  override readonly name = "MacAddressError";
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * Parses six hexadecimal octets separated by colons or dashes, either case.
 * @throws MacAddressError when the text is anything else.
 */
export function parseMacAddress(text: string): MacAddress {
  if (!/^[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4}$/.test(text)) {
    throw new MacAddressError(`invalid MAC address ${JSON.stringify(text.slice(0, 32))}`);
  }
  return text.toLowerCase().replaceAll("-", ":") as MacAddress;
}

/** The canonical text of 6 bytes. @throws MacAddressError for any other length. */
export function macAddressFromBytes(bytes: Uint8Array): MacAddress {
  if (bytes.length !== MAC_LENGTH) throw new MacAddressError(`a MAC address has ${MAC_LENGTH} bytes, not ${bytes.length}`);
  let text = "";
  for (const byte of bytes) text += (text === "" ? "" : ":") + HEX[byte];
  return text as MacAddress;
}

/** The 6 bytes of an address, in the order of transmission. */
export function macAddressToBytes(mac: MacAddress): Uint8Array {
  return Uint8Array.from(mac.split(":"), (octet) => Number.parseInt(octet, 16));
}

/** Every station of the segment. */
export const BROADCAST_MAC = parseMacAddress("ff:ff:ff:ff:ff:ff");
/** "Not known": what an ARP request carries as target hardware address. */
export const ZERO_MAC = parseMacAddress("00:00:00:00:00:00");
