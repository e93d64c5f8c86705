/**
 * How long this process has computed since `start`, in ms of all its threads. Bounds are set on this and not on the
 * clock: a process that was stopped or had to wait for others is not taken for one that hangs.
 */
export function processorMs(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000
}
