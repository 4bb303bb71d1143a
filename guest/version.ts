/** The project's version, put in when the agent is built. */
declare const VIRT_TRIM_VERSION: string | undefined;

export const agentVersion: string = typeof VIRT_TRIM_VERSION === 'string' ? VIRT_TRIM_VERSION : '0.0.0';
