export const base = 100;
