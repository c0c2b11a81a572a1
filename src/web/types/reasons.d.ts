/**
 * Returns the wait in ms before call number `tries` since the last picture (0 is the first); `random` is 0 to 1.
 * @param {string} code
 * @param {number} tries
 */
export function wait(code: string, tries: number, random?: number): number;
/**
 * Returns [title, advice] for people. `remote`: the other side ended the call.
 * @param {string} code
 * @param {Partial<Who>} [who]
 */
export function words(code: string, { name, remote }?: Partial<Who>): Words;
/**
 * Why we do not publish to a relay any more: [title, advice].
 * @param {string} code
 * @param {{ name?: string, remote?: boolean }} [call]
 * @returns {Words}
 */
export function published(code: string, call?: {
    name?: string;
    remote?: boolean;
}): Words;
/** When the page automatically calls a camera again. */
export const AGAIN: Readonly<{
    now: "now";
    back: "back";
    reopen: "reopen";
    soon: "soon";
    never: "never";
}>;
export const CODES: readonly string[];
export function again(code: string): When;
/**
 * Who ended a call: the other side (`remote`) or we. `name` is the other side's name.
 */
export type Who = {
    name: string;
    remote: boolean;
};
/**
 * Who ended a call: the other side (`remote`) or we. `name` is the other side's name.
 */
export type Words = [title: string, advice: string];
/**
 * Who ended a call: the other side (`remote`) or we. `name` is the other side's name.
 */
export type When = (typeof AGAIN)[keyof typeof AGAIN];
